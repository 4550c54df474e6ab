"""The rules of a verdict, by what they are about; `outcome` puts them in order."""
