"""What can be wrong with one image: a stable kind for programs and a sentence for people."""


class Fault(Exception):
    """An image that can't become a result. Its row says `kind: sentence`."""

    def __init__(self, kind: str, sentence: str) -> None:
        super().__init__(f"{kind}: {sentence}")
        self.kind = kind
        self.sentence = sentence

    def __reduce__(self) -> tuple[type["Fault"], tuple[str, str]]:
        return Fault, (self.kind, self.sentence)
