"""Many machines and many stores: how an export is worked on in parts, how a store's rate is shared, what runs where.

work       what is done to one part            apart      what was found in all parts, as if they were read as one
onray      the engine on Ray, and its check    sending    its delivery
places     what runs in Ray's processes        holder     what holds a store's rate, and the ledger, for all of them
scheduler  which part runs next, and where     dispatch   the scheduler, for stores that run side by side
lease      a store's rate, in slots            leased     a worker's share of it
"""
