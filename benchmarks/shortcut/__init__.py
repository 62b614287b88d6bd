"""How well do the default alerts tell a run that learns the background from one that does not?"""
