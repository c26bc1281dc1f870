package e2e_test

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// paragraph is the most characters that a paragraph of documentation has: five
// lines of 110.
const paragraph = 5 * 110

// prose is a line of a document that is neither a row of a table, a title, nor
// part of a block.
func prose(text string) (lines []string) {
	block := false
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		if strings.HasPrefix(line, "```") {
			block = !block
		}
		if !block && !strings.HasPrefix(line, "|") && !strings.HasPrefix(line, "#") {
			lines = append(lines, line)
		}
	}
	return lines
}

func TestParagraphsAreShort(t *testing.T) {
	t.Parallel()
	for _, path := range documents(t) {
		text, err := os.ReadFile(path)
		require.NoError(t, err)
		for _, line := range prose(string(text)) {
			require.LessOrEqual(t, len([]rune(line)), paragraph, "%s: split this:\n%s", filepath.Base(path), line)
		}
	}
}

// TestTheTestsThatDocumentsNameExist finds every TestName of the documents, so
// that a renamed test is renamed there too.
func TestTheTestsThatDocumentsNameExist(t *testing.T) {
	t.Parallel()
	known := everyTest(t)
	var missing []string
	for _, path := range documents(t) {
		text, err := os.ReadFile(path)
		require.NoError(t, err)
		for _, name := range regexp.MustCompile(`\bTest[A-Z]\w+`).FindAllString(string(text), -1) {
			if !slices.ContainsFunc(known, func(test string) bool { return strings.HasPrefix(test, name) }) {
				missing = append(missing, filepath.Base(path)+": "+name)
			}
		}
	}
	require.Empty(t, missing)
}

// TestTheMapOfFoldersIsRight finds every folder, and what ARCHITECTURE.md says
// that it holds.
func TestTheMapOfFoldersIsRight(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("../../docs/ARCHITECTURE.md")
	require.NoError(t, err)
	_, chapter, found := strings.Cut(string(text), "\n## Where to find things\n")
	require.True(t, found)
	chapter, _, _ = strings.Cut(chapter, "\n### No arrow")
	chapter, files, found := strings.Cut(chapter, "\n### Where it happens\n")
	require.True(t, found)
	for _, file := range regexp.MustCompile("`([^`]+)`").FindAllStringSubmatch(files, -1) {
		found, err := filepath.Glob(filepath.Join("..", "..", file[1]))
		require.NoError(t, err)
		require.NotEmpty(t, found, file[1])
	}
	rows := regexp.MustCompile("(?m)^\\| (`[^|]*`) \\| (.*) \\|$").FindAllStringSubmatch(chapter, -1)
	require.NotEmpty(t, rows)
	for _, row := range rows {
		for _, folder := range regexp.MustCompile("`([^`]+)`").FindAllStringSubmatch(row[1], -1) {
			info, err := os.Stat(filepath.Join("..", "..", folder[1]))
			require.NoError(t, err)
			require.True(t, info.IsDir(), folder[1])
			for _, part := range regexp.MustCompile("`([^` ]+)`").FindAllStringSubmatch(row[2], -1) {
				found, err := filepath.Glob(filepath.Join("..", "..", folder[1], part[1]))
				require.NoError(t, err)
				require.NotEmpty(t, found, "%s has no %s", folder[1], part[1])
			}
		}
	}
}

// everyTest lists the tests of both modules.
func everyTest(t *testing.T) (names []string) {
	t.Helper()
	err := filepath.WalkDir("../..", func(path string, entry os.DirEntry, err error) error {
		if err != nil || !strings.HasSuffix(path, "_test.go") {
			return err
		}
		names = append(names, testsOf(t, path)...)
		return nil
	})
	require.NoError(t, err)
	return names
}

// TestLinksLeadSomewhere follows every link between documents, to the title of
// its section.
func TestLinksLeadSomewhere(t *testing.T) {
	t.Parallel()
	other := regexp.MustCompile(`[^\p{L}\p{N} _-]`)
	for _, path := range append(documents(t), "../../CHANGELOG.md") {
		text, err := os.ReadFile(path)
		require.NoError(t, err)
		for _, link := range regexp.MustCompile(`\]\(([^)\s]+)\)`).FindAllStringSubmatch(string(text), -1) {
			if strings.Contains(link[1], "://") {
				continue
			}
			file, anchor, _ := strings.Cut(link[1], "#")
			target := path
			if file != "" {
				target = filepath.Join(filepath.Dir(path), file)
			}
			there, err := os.ReadFile(target)
			require.NoError(t, err, "%s: %s", path, link[0])
			if anchor == "" {
				continue
			}
			var anchors []string
			for _, title := range regexp.MustCompile(`(?m)^#+ (.*)$`).FindAllStringSubmatch(string(there), -1) {
				anchors = append(anchors, strings.ReplaceAll(other.ReplaceAllString(strings.ToLower(title[1]), ""), " ", "-"))
			}
			require.Contains(t, anchors, anchor, "%s: %s", path, link[0])
		}
	}
}
