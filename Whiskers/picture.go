package main

import (
	"bytes"
	"context"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"mime"
	"net/http"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

const (
	largestPicture = 10 << 20 // mail servers take little more, and a container may have little memory
	largestFeed    = 2 << 20
)

// extensions are the pictures that people can look at in a mail; what a file says it is is not asked.
var extensions = map[string]string{
	"image/jpeg": ".jpg", "image/png": ".png", "image/gif": ".gif", "image/webp": ".webp",
}

type picture struct {
	name, kind string // kind is a media type, such as image/jpeg
	content    []byte
}

// source is where pictures come from: a feed if there is one, else a folder.
type source struct{ feed, folder string }

// String is for the log: an address may have a password in it, or a token after the question mark.
func (s source) String() string {
	if s.feed == "" {
		return s.folder
	}
	return withoutSecrets(s.feed)
}

func (s source) picture(ctx context.Context, today time.Time) (picture, error) {
	if s.feed == "" {
		return fromFolder(s.folder, today)
	}
	return fromFeed(ctx, s.feed)
}

// fromFolder takes another picture each day, until all have had their turn.
func fromFolder(folder string, today time.Time) (picture, error) {
	entries, err := os.ReadDir(folder) // sorted by name
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return picture{}, err
	}
	entries = slices.DeleteFunc(entries, func(entry os.DirEntry) bool {
		return entry.IsDir() || strings.HasPrefix(entry.Name(), ".")
	})
	if len(entries) == 0 {
		return picture{}, fmt.Errorf("%s has no pictures; put some there, or name a feed", folder)
	}
	year, month, day := today.Date()
	days := time.Date(year, month, day, 0, 0, 0, 0, time.UTC).Unix() / (24 * 60 * 60)
	file := filepath.Join(folder, entries[int(days)%len(entries)].Name())
	opened, err := os.Open(file)
	if err != nil {
		return picture{}, err
	}
	defer opened.Close()
	content, err := atMost(opened, largestPicture)
	if err != nil {
		return picture{}, fmt.Errorf("%s %w", file, err)
	}
	return named(filepath.Base(file), file, content)
}

// fromFeed fetches what the address leads to: a picture, or a feed whose first picture is its newest.
func fromFeed(ctx context.Context, address string) (picture, error) {
	content, err := fetch(ctx, address)
	if err != nil {
		return picture{}, err
	}
	if isPicture(content) {
		return named(nameOf(address), withoutSecrets(address), content)
	}
	base, err := url.Parse(address)
	if err != nil {
		return picture{}, err
	}
	found, err := firstPicture(base, content)
	if err != nil {
		return picture{}, fmt.Errorf("%s %w", withoutSecrets(address), err)
	}
	content, err = fetch(ctx, found)
	if err != nil {
		return picture{}, err
	}
	return named(nameOf(found), withoutSecrets(found), content)
}

// fetch gets what an address leads to, of bounded size; how long it may take the context says.
func fetch(ctx context.Context, address string) ([]byte, error) {
	shown := withoutSecrets(address)
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return nil, fmt.Errorf("%s is no address that can be fetched", shown)
	}
	request.Header.Set("User-Agent", "whiskers/"+version)
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		// Its own words hold the whole address.
		if wrapped := new(url.Error); errors.As(err, &wrapped) {
			err = wrapped.Err
		}
		return nil, fmt.Errorf("%s: %w", shown, err)
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s answered %s", shown, answer.Status)
	}
	kind, _, _ := mime.ParseMediaType(answer.Header.Get("Content-Type"))
	largest := int64(largestFeed)
	switch {
	case strings.HasPrefix(kind, "image/"):
		largest = largestPicture
	case kind == "text/xml" || kind == "application/xml" || strings.HasSuffix(kind, "+xml"):
	default:
		return nil, fmt.Errorf("%s is %q, and neither a picture nor a feed", shown, kind)
	}
	content, err := atMost(answer.Body, largest)
	if err != nil {
		return nil, fmt.Errorf("%s %w", shown, err)
	}
	return content, nil
}

// firstPicture finds the first picture that a feed names: an enclosure of RSS or Atom, or Yahoo's media:content.
func firstPicture(base *url.URL, feed []byte) (string, error) {
	// People's feeds are as they are. Addresses are ASCII in every charset, so the others need not be known.
	decoder := xml.NewDecoder(bytes.NewReader(bytes.ToValidUTF8(feed, []byte("?"))))
	decoder.Strict = false
	decoder.CharsetReader = func(_ string, feed io.Reader) (io.Reader, error) { return feed, nil }
	for {
		token, err := decoder.Token()
		if errors.Is(err, io.EOF) {
			return "", errors.New("is a feed without a picture")
		}
		if err != nil {
			return "", fmt.Errorf("is no feed: %w", err)
		}
		element, ok := token.(xml.StartElement)
		if !ok {
			continue
		}
		said := make(map[string]string)
		for _, attribute := range element.Attr {
			said[attribute.Name.Local] = attribute.Value
		}
		isImage := strings.HasPrefix(said["type"], "image/") || said["medium"] == "image"
		address := said["url"]
		switch element.Name.Local {
		case "enclosure", "content":
		case "link":
			isImage, address = isImage && said["rel"] == "enclosure", said["href"]
		default:
			continue
		}
		if !isImage || address == "" {
			continue
		}
		found, err := base.Parse(address)
		if err != nil {
			return "", fmt.Errorf("names a picture at %q, which is no address", address)
		}
		return found.String(), nil
	}
}

// named makes a picture of bytes that are one; raises an error with where they came from otherwise.
func named(name, where string, content []byte) (picture, error) {
	kind := http.DetectContentType(content)
	extension, ok := extensions[kind]
	if !ok {
		return picture{}, fmt.Errorf("%s is no picture of a known kind (JPEG, PNG, GIF, WebP): it looks like %s", where, kind)
	}
	if found, _, _ := mime.ParseMediaType(mime.TypeByExtension(path.Ext(name))); found != kind {
		name += extension
	}
	return picture{name, kind, content}, nil
}

func isPicture(content []byte) bool {
	return strings.HasPrefix(http.DetectContentType(content), "image/")
}

func atMost(from io.Reader, largest int64) ([]byte, error) {
	content, err := io.ReadAll(io.LimitReader(from, largest+1))
	if err == nil && int64(len(content)) > largest {
		err = fmt.Errorf("is larger than %d MiB", largest>>20)
	}
	return content, err
}

// nameOf is what a picture from an address is called in the mail.
func nameOf(address string) string {
	parsed, err := url.Parse(address)
	if err != nil || strings.Trim(parsed.Path, "/") == "" {
		return "cat"
	}
	return path.Base(parsed.EscapedPath())
}

// withoutSecrets is an address without what may be secret in it.
func withoutSecrets(address string) string {
	parsed, err := url.Parse(address)
	if err != nil {
		return "the feed"
	}
	return (&url.URL{Scheme: parsed.Scheme, Host: parsed.Host, Path: parsed.Path}).String()
}
