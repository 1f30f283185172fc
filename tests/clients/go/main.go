// The guide's Go code, run against a node: "clients ENDPOINT SECRET STEP". Each step does what its
// name says and ends with 0 when everything was as it should be; what the Python side compares goes
// to standard output. Lines of the guide stand here as they are, the address and the secret aside.
package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand"
	"os"
	"reflect"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/feature/s3/manager"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/aws/smithy-go"
)

var endpoint, secret string

func newClient() *s3.Client {
	return s3.New(s3.Options{
		BaseEndpoint: aws.String(endpoint),
		Region:       "us-east-1",
		Credentials:  credentials.NewStaticCredentialsProvider("AKID_APP1_WRITER", secret, ""),
		UsePathStyle: true,
	})
}

func upload() error {
	client := newClient()
	_, err := client.PutObject(context.Background(), &s3.PutObjectInput{
		Bucket:      aws.String("app1-files"),
		Key:         aws.String("path/to/data.txt"),
		Body:        strings.NewReader("hello world"),
		ContentType: aws.String("text/plain"),
		Metadata:    map[string]string{"project": "acme", "env": "prod"},
	})
	if err != nil {
		fmt.Printf("upload failed: %v\n", err)
	}
	return err
}

func download() error {
	client := newClient()
	result, err := client.GetObject(context.Background(), &s3.GetObjectInput{
		Bucket: aws.String("app1-files"),
		Key:    aws.String("path/to/data.txt"),
	})
	if err != nil {
		fmt.Printf("download failed: %v\n", err)
		return err
	}
	defer result.Body.Close()
	// read result.Body
	data, err := io.ReadAll(result.Body)
	if err != nil {
		return err
	}
	// user metadata is in result.Metadata (map[string]string)
	fmt.Printf("%s|%s|%s|%s", data, *result.ContentType, result.Metadata["project"], result.Metadata["env"])
	return nil
}

func list() error {
	client := newClient()
	result, err := client.ListObjectsV2(context.Background(), &s3.ListObjectsV2Input{
		Bucket: aws.String("app1-files"),
		Prefix: aws.String("photos/"),
	})
	if err != nil {
		fmt.Printf("list failed: %v\n", err)
		return err
	}
	for _, obj := range result.Contents {
		fmt.Printf("%s  (%d bytes)\n", *obj.Key, *obj.Size)
	}
	return nil
}

func remove() error {
	client := newClient()
	_, err := client.DeleteObject(context.Background(), &s3.DeleteObjectInput{
		Bucket: aws.String("app1-files"),
		Key:    aws.String("path/to/data.txt"),
	})
	return err
}

func presign() error {
	client := newClient()
	presignClient := s3.NewPresignClient(client)
	req, err := presignClient.PresignGetObject(context.Background(), &s3.GetObjectInput{
		Bucket: aws.String("app1-files"),
		Key:    aws.String("path/to/myfile.txt"),
	}, s3.WithPresignExpires(5*time.Minute))
	// req.URL contains the presigned URL
	if err == nil {
		fmt.Print(req.URL)
	}
	return err
}

// presignPut prints the URL, then the headers that it was signed with.
func presignPut() error {
	presigner := s3.NewPresignClient(newClient())
	request, err := presigner.PresignPutObject(context.Background(), &s3.PutObjectInput{
		Bucket: aws.String("app1-files"),
		Key:    aws.String("by go.txt"),
	})
	if err == nil {
		fmt.Print(request.URL)
	}
	return err
}

// loadedClient is what programs have that use the SDK's defaults: checksums on every upload.
func loadedClient() (*s3.Client, error) {
	loaded, err := config.LoadDefaultConfig(context.Background(),
		config.WithRegion("eu-west-1"),
		config.WithCredentialsProvider(credentials.NewStaticCredentialsProvider("AKID_APP1_WRITER", secret, "")))
	if err != nil {
		return nil, err
	}
	return s3.NewFromConfig(loaded, func(options *s3.Options) {
		options.BaseEndpoint = aws.String(endpoint)
		options.UsePathStyle = true
	}), nil
}

func conditional() error {
	put := func() error {
		_, err := newClient().PutObject(context.Background(), &s3.PutObjectInput{
			Bucket:      aws.String("app1-files"),
			Key:         aws.String("go/once"),
			Body:        strings.NewReader("once"),
			IfNoneMatch: aws.String("*"),
		})
		return err
	}
	if err := put(); err != nil {
		return err
	}
	return expect(put(), "PreconditionFailed")
}

func expect(err error, code string) error {
	var refused smithy.APIError
	if errors.As(err, &refused) && refused.ErrorCode() == code {
		return nil
	}
	return fmt.Errorf("expected %s, got %v", code, err)
}

func missing() error {
	_, err := newClient().GetObject(context.Background(), &s3.GetObjectInput{
		Bucket: aws.String("app1-files"),
		Key:    aws.String("go/never written"),
	})
	if err := expect(err, "NoSuchKey"); err != nil {
		return err
	}
	_, err = newClient().ListObjectsV2(context.Background(), &s3.ListObjectsV2Input{Bucket: aws.String("app2-files")})
	return expect(err, "AccessDenied")
}

func noise(size int) []byte {
	data := make([]byte, size)
	rand.New(rand.NewSource(int64(size))).Read(data)
	return data
}

// large goes up in parts and comes back in parts, with checksums.
func large() error {
	client, err := loadedClient()
	if err != nil {
		return err
	}
	data := noise(12<<20 + 5)
	uploader := manager.NewUploader(client)
	_, err = uploader.Upload(context.Background(), &s3.PutObjectInput{
		Bucket: aws.String("app1-files"),
		Key:    aws.String("go/large"),
		Body:   bytes.NewReader(data),
	})
	if err != nil {
		return err
	}
	back := manager.NewWriteAtBuffer(nil)
	_, err = manager.NewDownloader(client).Download(context.Background(), back, &s3.GetObjectInput{
		Bucket: aws.String("app1-files"),
		Key:    aws.String("go/large"),
	})
	if err == nil && !bytes.Equal(back.Bytes(), data) {
		err = errors.New("other bytes came back")
	}
	return err
}

var oddKeys = []string{"go/odd/with space", "go/odd/plus+plus", "go/odd/per%cent%20", "go/odd/a//b", "go/odd/ünï/cödé",
	"go/odd/emoji-🦀", "go/odd/q?m=1&x#y", "go/odd/./dot", "go/odd/../dots", "go/odd/'\"quotes", "go/odd/star*(1)", "go/odd/slash/"}

func odd() error {
	client, err := loadedClient()
	if err != nil {
		return err
	}
	for _, key := range oddKeys {
		if err := roundTrip(client, key); err != nil {
			return fmt.Errorf("%q: %w", key, err)
		}
	}
	listed, err := client.ListObjectsV2(context.Background(), &s3.ListObjectsV2Input{
		Bucket: aws.String("app1-files"), Prefix: aws.String("go/odd/")})
	if err != nil {
		return err
	}
	if len(listed.Contents) != len(oddKeys) {
		return fmt.Errorf("%d keys listed, %d written", len(listed.Contents), len(oddKeys))
	}
	return removeAll(client, listed.Contents)
}

func roundTrip(client *s3.Client, key string) error {
	_, err := client.PutObject(context.Background(), &s3.PutObjectInput{
		Bucket: aws.String("app1-files"), Key: aws.String(key), Body: strings.NewReader(key)})
	if err != nil {
		return err
	}
	result, err := client.GetObject(context.Background(), &s3.GetObjectInput{
		Bucket: aws.String("app1-files"), Key: aws.String(key)})
	if err != nil {
		return err
	}
	defer result.Body.Close()
	data, err := io.ReadAll(result.Body)
	if err == nil && string(data) != key {
		err = fmt.Errorf("%q came back", data)
	}
	return err
}

func removeAll(client *s3.Client, objects []types.Object) error {
	var names []types.ObjectIdentifier
	for _, object := range objects {
		names = append(names, types.ObjectIdentifier{Key: object.Key})
	}
	result, err := client.DeleteObjects(context.Background(), &s3.DeleteObjectsInput{
		Bucket: aws.String("app1-files"), Delete: &types.Delete{Objects: names}})
	if err != nil {
		return err
	}
	if len(result.Deleted) != len(objects) || len(result.Errors) != 0 {
		return fmt.Errorf("deleted %d, errors %v", len(result.Deleted), result.Errors)
	}
	return nil
}

// copyObject passes the source as Go programs do: not encoded.
func copyObject() error {
	client := newClient()
	if err := roundTrip(client, "go/source with space+é"); err != nil {
		return err
	}
	_, err := client.CopyObject(context.Background(), &s3.CopyObjectInput{
		Bucket: aws.String("app1-files"), Key: aws.String("go/copied"),
		CopySource: aws.String("app1-files/go/source with space+é")})
	if err != nil {
		return err
	}
	head, err := client.HeadObject(context.Background(), &s3.HeadObjectInput{
		Bucket: aws.String("app1-files"), Key: aws.String("go/copied")})
	if err == nil && *head.ContentLength != int64(len("go/source with space+é")) {
		err = fmt.Errorf("copied %d bytes", *head.ContentLength)
	}
	return err
}

// attributes: the SDK sends the names of the attributes as lines of their own.
func attributes() error {
	client := newClient()
	if err := roundTrip(client, "go/attributes"); err != nil {
		return err
	}
	result, err := client.GetObjectAttributes(context.Background(), &s3.GetObjectAttributesInput{
		Bucket: aws.String("app1-files"), Key: aws.String("go/attributes"),
		ObjectAttributes: []types.ObjectAttributes{types.ObjectAttributesEtag, types.ObjectAttributesObjectSize,
			types.ObjectAttributesStorageClass}})
	if err != nil {
		return err
	}
	want := int64(len("go/attributes"))
	if result.ETag == nil || !reflect.DeepEqual(result.ObjectSize, &want) || result.StorageClass != "STANDARD" {
		return fmt.Errorf("attributes: %+v", result)
	}
	return nil
}

func main() {
	endpoint, secret = os.Args[1], os.Args[2]
	steps := map[string]func() error{"upload": upload, "download": download, "list": list, "remove": remove,
		"presign": presign, "presign-put": presignPut, "conditional": conditional, "missing": missing,
		"large": large, "odd": odd, "copy": copyObject, "attributes": attributes}
	if err := steps[os.Args[3]](); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
