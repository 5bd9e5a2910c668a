"""What a study is: its definition, its storage, and the queue of its points."""
