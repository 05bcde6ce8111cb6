"""One export on many machines: the phases of a run, over parts of the export that are read apart.

`work` is what a machine does to one part, `apart` puts together what was found, as if one machine had read it all.
"""
