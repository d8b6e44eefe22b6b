"""The ring of hosts: who is a member, who is alive, and what they tell each other, as hashicorp/memberlist has it on the wire."""
