"""Many machines and many stores: how an export is worked on in parts, how a store's rate is shared, what runs where.

`work` is what is done to one part of an export, `apart` puts together what was found, as if all had been read at once.
`lease` is how any number of workers keep one store's rate together.
"""
