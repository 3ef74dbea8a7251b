"""How a room hears: from every microphone's sound to utterances, each with its speaker.

`docs/who-said-it.md` is the theory of operation: what is measured, estimated and decided, with the
names that the code uses. In the order in which sound passes through:

1. `timeline` places each microphone's sound; `highpass` and `fold` make it fit to be heard.
2. `room` takes all microphones tick by tick; `channel` is one microphone's way through it.
3. `hearing` measures band powers. `lags`, `coupling`, `arrival` and `likeness` estimate from them
   how microphones and speakers lie to each other; `ownership` decides whose speech each tick is.
4. `segmenter` finds where an utterance begins and ends.
5. `doubletalk` looks at an utterance in which others spoke too, with `subtraction` and `masking`.

`alignment` serves recordings that were not started together.
"""
