//go:build tools

// Package tools names the daemon of GoBGP that the lab runs, and its command: so go.sum has all that it is made of.
package tools

import (
	_ "github.com/osrg/gobgp/v4/cmd/gobgp"
	_ "github.com/osrg/gobgp/v4/cmd/gobgpd"
)
