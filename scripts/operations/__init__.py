"""What an operator does, as plain functions: they need a `Sender`, and neither Ape nor any other framework.

`ape run deploy | admit | fund | create_study` are thin commands over these.
"""
