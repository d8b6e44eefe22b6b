// The least that answers with the libraries that MetalLB's speaker is made with: one goroutine that reads, parses, looks
// the address up, and writes. What a speaker does besides (logging, counting) is left out, so this is the most that it
// could reach.
//
//	goresponder INTERFACE FIRST LAST
//
// Answers ARP or neighbour solicitations, as the family of the addresses says, for FIRST..LAST.
package main

import (
	"fmt"
	"log"
	"net"
	"net/netip"
	"os"

	"github.com/mdlayher/arp"
	"github.com/mdlayher/ndp"
)

type owned map[netip.Addr]struct{}

func must[T any](value T, err error) T {
	if err != nil {
		log.Fatal(err)
	}
	return value
}

func answerARP(link *net.Interface, ours owned) {
	client := must(arp.Dial(link))
	fmt.Println("ready")
	for {
		packet, _, err := client.Read()
		if err != nil || packet.Operation != arp.OperationRequest {
			continue
		}
		if _, found := ours[packet.TargetIP]; found {
			_ = client.Reply(packet, link.HardwareAddr, packet.TargetIP)
		}
	}
}

func answerND(link *net.Interface, ours owned) {
	conn, _, err := ndp.Listen(link, ndp.LinkLocal)
	if err != nil {
		log.Fatal(err)
	}
	for address := range ours {
		group := must(ndp.SolicitedNodeMulticast(address))
		_ = conn.JoinGroup(group) // several addresses have one
	}
	fmt.Println("ready")
	for {
		message, _, from, err := conn.ReadFrom()
		solicitation, is := message.(*ndp.NeighborSolicitation)
		if err != nil || !is {
			continue
		}
		target := solicitation.TargetAddress
		if _, found := ours[target]; found {
			option := &ndp.LinkLayerAddress{Direction: ndp.Target, Addr: link.HardwareAddr}
			advertisement := &ndp.NeighborAdvertisement{
				Solicited: true, Override: true, TargetAddress: target, Options: []ndp.Option{option},
			}
			_ = conn.WriteTo(advertisement, nil, from)
		}
	}
}

func main() {
	if len(os.Args) != 4 {
		log.Fatal("expected an interface and two addresses")
	}
	link := must(net.InterfaceByName(os.Args[1]))
	first, last := must(netip.ParseAddr(os.Args[2])), must(netip.ParseAddr(os.Args[3]))
	ours := owned{}
	for address := first; address.Compare(last) <= 0; address = address.Next() {
		ours[address] = struct{}{}
	}
	if first.Is4() {
		answerARP(link, ours)
	}
	answerND(link, ours)
}
