"""The stories that the sample captures tell, one module each."""
