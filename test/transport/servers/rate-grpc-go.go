// A grpc-go client of testing.v1.Echo: rate-grpc-go target method count size rounds. Prints the seconds that each round took, in which
// `count` messages with a payload of `size` bytes are sent (ClientStream) or received (ServerStream), on one connection.
package main

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"os"
	"strconv"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
)

// Passes messages on without decoding them.
type bytesCodec struct{}

func (bytesCodec) Marshal(value interface{}) ([]byte, error) { return *(value.(*[]byte)), nil }
func (bytesCodec) Unmarshal(data []byte, value interface{}) error {
	*(value.(*[]byte)) = data
	return nil
}
func (bytesCodec) String() string { return "proto" }

func check(err error) {
	if err != nil {
		panic(err)
	}
}

func main() {
	target, method := os.Args[1], os.Args[2]
	count, _ := strconv.Atoi(os.Args[3])
	size, _ := strconv.Atoi(os.Args[4])
	rounds, _ := strconv.Atoi(os.Args[5])
	connection, err := grpc.Dial(target, grpc.WithInsecure(), grpc.WithDefaultCallOptions(grpc.CallCustomCodec(bytesCodec{})))
	check(err)
	payload := append(binary.AppendUvarint([]byte{0x1a}, uint64(size)), make([]byte, size)...)
	number := binary.AppendUvarint([]byte{0x10}, uint64(count))
	for round := 0; round < rounds; round++ {
		begun := time.Now()
		context := metadata.AppendToOutgoingContext(context.Background(), "x-size", strconv.Itoa(size))
		streams := grpc.StreamDesc{ClientStreams: true, ServerStreams: true}
		stream, err := connection.NewStream(context, &streams, "/testing.v1.Echo/"+method)
		check(err)
		if method == "ClientStream" {
			for sent := 0; sent < count; sent++ {
				check(stream.SendMsg(&payload))
			}
		} else {
			check(stream.SendMsg(&number))
		}
		check(stream.CloseSend())
		var received []byte
		for err = nil; err == nil; err = stream.RecvMsg(&received) {
		}
		if err != io.EOF {
			panic(err)
		}
		fmt.Println(time.Since(begun).Seconds())
	}
}
