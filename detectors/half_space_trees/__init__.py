"""Half-space trees (Tan, Ting & Liu 2011, doi:10.5591/978-1-57735-516-8/IJCAI11-254)."""
