"""What dies in the kernel: eBPF that knows our addresses, in front of the responder's sockets."""
