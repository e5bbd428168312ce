"""The library that people meet first: save, load, compute on and hand on encrypted tensors, with keys that it makes itself.

facade                                                     `SafeTensorLibrary`, all of it but the work
sealingkeys, contexts > home                               its keys, and the folder that they are in
copying > distributed > addressees                         handing on
arrays, outside, history                                   what may be encrypted, what a file is, what was done
"""

from stfed.library.distributed import Distributed
from stfed.library.facade import SafeTensorLibrary
from stfed.library.history import History, Record

__all__ = ["Distributed", "History", "Record", "SafeTensorLibrary"]
