"""Stand-in: only says which segmenter it is."""


class PredictedMasks:
    def __init__(self, directory, confidence):
        self.record = [str(directory), confidence]
