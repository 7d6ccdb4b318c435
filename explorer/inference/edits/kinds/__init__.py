"""The kinds of edits as plain data: what may be asked for, checked when it is made. No torch here."""
