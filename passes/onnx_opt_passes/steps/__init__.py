"""What passes are made of: each module is one step that a pass takes."""
