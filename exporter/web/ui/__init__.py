"""The pages for people, and the JSON API that holds all that they show."""
