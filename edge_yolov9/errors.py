"""Every error this package raises on purpose.

EdgeYoloError
├── InputError               something the user handed over cannot be used
│   ├── CheckpointError      a checkpoint is missing, truncated or foreign
│   │   └── UnsafeCheckpointError   a pickle asks for code instead of tensors
│   ├── DataError            a data set, its labels or its class names
│   │   └── CalibrationError the calibration images
│   └── SourceError          an image, video or camera that does not open or decode
├── BundleError              a bundle is missing, changed, or of another schema
├── TargetError              an unknown target or board, or one that cannot do what was asked
│   └── RuntimeNotInstalled  the target's vendor runtime is absent; names the extra
├── CompileError             the compiler could not produce a bundle it can vouch for
│   ├── ParityError          an emitted artifact does not compute what the checkpoint computes
│   └── AccuracyError        the measured drop is over the budget
├── TrainingError            a run cannot go on, or a saved one cannot be continued
└── InferenceError           a vendor runtime failed; its own exception is the cause

Each message is one line: what was expected, what was found, what to do next.
"""

from __future__ import annotations


class EdgeYoloError(Exception):
    """Base of every deliberate error."""


class InputError(EdgeYoloError):
    """Something the user handed over cannot be used."""


class CheckpointError(InputError):
    """A checkpoint is missing, truncated or foreign."""


class UnsafeCheckpointError(CheckpointError):
    """A pickled checkpoint asks for something other than tensors."""


class DataError(InputError):
    """A data set, its labels or its class names cannot be used."""


class CalibrationError(DataError):
    """There is no usable calibration image where INT8 needs some."""


class SourceError(InputError):
    """An image, video or camera does not open or decode."""


class DepthError(SourceError):
    """An image has 16 bits a pixel and uses the lower ones alone: read as 8 bits it would be nearly black."""


class BundleError(EdgeYoloError):
    """A bundle is missing, changed, incomplete or of another schema."""


class TargetError(EdgeYoloError):
    """An unknown target or board, or one that cannot do what was asked."""


class RuntimeNotInstalled(TargetError):
    """The vendor runtime of a target is not importable here."""


class CompileError(EdgeYoloError):
    """The compiler could not produce a bundle it can vouch for."""


class ParityError(CompileError):
    """An emitted artifact does not compute what the checkpoint computes."""


class AccuracyError(CompileError):
    """The measured accuracy drop is over the budget."""


class InferenceError(EdgeYoloError):
    """A vendor runtime failed while running a model."""


class TrainingError(EdgeYoloError):
    """A training run cannot go on, or a state on disk cannot be continued."""
