"""How a room hears: the sound of every microphone becomes utterances, each with its speaker.

Every microphone of a room hears everybody. Three rules decide what becomes of that:

1. No sample of speech is lost. A microphone's utterances never overlap, and where a long one is
   split, the second begins at the sample where the first ends.
2. In doubt, speech is kept twice rather than not at all. Nothing is taken for another's speech
   before two microphones are known to hear the same sound.
3. A decision is made again when more is known: when an utterance ends, and for half a minute after
   that. What turns out to be another's speech is withdrawn.

Time is counted in samples at 16 kHz on one timeline for all microphones, never measured block by
block. A *tick* is 512 samples (32 ms), a *hop* half of that. Arrays have one entry a microphone on
their first axis; `index` is a microphone's place there, `mic` its id.

Sound passes through these modules, in this order:

- `timeline` places a capture stream on the timeline and takes out the drift of its clock.
- `front_end` folds channels to one and removes what no voice has.
- `room` collects ticks until all microphones have theirs; `mic_path` is the path of one of them.
- `hearing` remembers half a minute: sound, band powers, noise floors and speech probabilities.
  `slips` knows how far corrections of the clocks have shifted the sound.
- `lags`, `coupling` and `arrival` learn how each microphone hears each speaker: how late, how
  loud, and from where. `ownership` decides from that whose speech each tick is.
- `masking` turns down what is another's; `endpointing` finds where an utterance begins and ends.
- `doubletalk` cleans an utterance in which others spoke too, by `subtraction`.

`alignment` serves recordings that were not started together. `docs/who-said-it.md` tells the theory
at length: what is measured, estimated and decided, and where the numbers come from.
"""
