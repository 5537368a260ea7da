// Command probe is what the cluster's tests run in Pods.
//
//	probe id          prints user and group
//	probe serve       answers HTTP on port 8080
//	probe get URL     asks until it is answered; the Pod's deadline bounds it
package main

import (
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"os"
	"time"
)

func main() {
	fmt.Printf("uid=%d gid=%d\n", os.Getuid(), os.Getgid())
	switch os.Args[1] {
	case "serve":
		log.Fatal(http.ListenAndServe(":8080", http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			_, _ = io.WriteString(w, "hello from a Pod\n")
		})))
	case "get":
		for get(os.Args[2]) != nil {
			time.Sleep(100 * time.Millisecond)
		}
	}
}

func get(url string) error {
	client := http.Client{Timeout: 2 * time.Second}
	response, err := client.Get(url)
	if err != nil {
		return err
	}
	defer func() { _ = response.Body.Close() }()
	if response.StatusCode != http.StatusOK {
		return errors.New(response.Status)
	}
	_, err = io.Copy(os.Stdout, response.Body)
	return err
}
