"""The pure core: no I/O, no clock, no logging; time and audio come in as arguments."""
