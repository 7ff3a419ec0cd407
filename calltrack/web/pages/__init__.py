"""The page that people work with: rendered here, by the services that the command line and the API use too."""
