"""What a replay needs beside the loop."""
