"""BGP: every node announces addresses to its routers, through GoBGP's daemon beside the speaker."""
