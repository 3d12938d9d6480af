#!/bin/sh
# tests/rig/last_words.sh FILE: what a guest's kernel died of, if it did, and slat's last line, as one line.
{
	grep -E 'BUG:|Oops|RIP:|Kernel panic' "$1" | head -n 3
	tail -n 1 "$1"
} | tr -s ' ' | paste -sd'|'
