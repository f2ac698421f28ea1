"""Running models through pipelines, judging what comes out, and making small what fails."""
