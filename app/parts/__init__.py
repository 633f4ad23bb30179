"""The parts a page is made of: each draws one thing from gradcore's answers. No formula and no torch here."""
