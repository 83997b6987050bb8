"""Photos at https:// addresses: only hosts that the job file names, at addresses that may be asked, within limits.

    uri --core.web_url--> WebUrl --client--> host named? --addresses--> addresses checked, pinned --exchange--> bytes
                                     ^                                                               |
                                     +------------------------- redirect ----------------------------+

A row of a catalog is written by anyone, and a worker stands inside a private network beside a metadata service. So
each hop is checked anew, a name is resolved once for each connection, and the connection goes to a checked address.
"""
