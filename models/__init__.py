"""What is learned: networks, losses, recipes, bundles. Pure torch: no Ray, no storage, no command line."""
