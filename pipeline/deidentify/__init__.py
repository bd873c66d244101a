"""De-identification: regions that show a person are found, replaced, accounted for, and sealed where asked."""
