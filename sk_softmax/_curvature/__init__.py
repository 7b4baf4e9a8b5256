"""Second derivatives of the mean loss: Hessians, parts of them, products with them."""
