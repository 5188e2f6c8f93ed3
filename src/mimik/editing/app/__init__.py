"""`mimik app`: photographs edited on a page in the browser, and over HTTP."""
