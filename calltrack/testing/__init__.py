"""What tests of calltrack and of its plugins stand on: an in-memory network, scripted SIP peers, a wired engine,
fakes that check how they are used, and contract suites for every extension point. Nothing here is needed to run.
"""
