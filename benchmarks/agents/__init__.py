"""What campaigns with language models are worth: workers kept busy, and dollars told to the cent."""
