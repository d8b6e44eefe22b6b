"""The ring of hosts: who is a member, who is alive, what they tell each other; on the wire as hashicorp/memberlist."""
