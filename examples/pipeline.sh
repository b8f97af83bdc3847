#!/usr/bin/env bash
# Every stage of the method on real videos and on AURORA-Bench's pictures, from key frames to a human study, with the shipped tabletop base fine-tuned
# for a few steps on the spot. That base has seen nothing but toy tables of 48 x 48 pixels, so its numbers are poor; the path is the real one: give a
# Chameleon folder as MODEL and larger STEPS for real results.
#   examples/pipeline.sh <folder of videos> <AURORA-Bench folder> <out>          MODEL, STEPS, JUDGE (url), JUDGE_MODEL from the environment
set -euo pipefail
videos=${1:?a folder of videos} bench=${2:?the AURORA-Bench folder} out=${3:?an output folder}
videos=$(realpath "$videos") bench=$(realpath "$bench") out=$(realpath -m "$out")
cd "$(dirname "$0")/.."
model=${MODEL:-world/tabletop/base} steps=${STEPS:-40}
worldline() { echo "\$ worldline $*" >&2; node --import tsx cli/main.ts "$@"; }

mkdir -p "$out"
# 1. Key frames of the videos as pairs, and the benchmark's pictures as triplets: the first half of each part to train on, the rest to test on.
worldline frames "$videos" --out "$out/clips" --size 256 --square crop
worldline aurora "$bench" --out "$out/all.jsonl"
node -e '
  const [, all, train, test] = process.argv, fs = require("fs"), seen = {};
  const lines = fs.readFileSync(all, "utf8").trim().split("\n");
  const even = lines.map((l) => (seen[JSON.parse(l).family] = (seen[JSON.parse(l).family] ?? -1) + 1) % 2 === 0);
  fs.writeFileSync(train, lines.filter((_, i) => even[i]).join("\n") + "\n");
  fs.writeFileSync(test, lines.filter((_, i) => !even[i]).join("\n") + "\n");
' "$out/all.jsonl" "$out/train.jsonl" "$out/test.jsonl"

# 2. A dynamics model from the triplets; it labels the videos' pairs, and the likelier half is kept.
train() { worldline train "$@" --eval-data "$out/test.jsonl" --max-steps "$steps" --per-device-train-batch-size 8 --learning-rate 0.002 --logging-steps 5; }
train cdm --model "$model" --data "$out/train.jsonl" --out "$out/cdm"
worldline annotate --cdm "$out/cdm" --pairs "$out/clips/pairs.jsonl" --out "$out/annotated.jsonl" --max-tokens 48
worldline filter --in "$out/annotated.jsonl" --out "$out/kept.jsonl" --keep 0.5

# 3. World models without and with what it labelled, and the weights of one pair as a picture.
pair=$(node -p 'const r = JSON.parse(require("fs").readFileSync(process.argv[1], "utf8").split("\n")[0]); r.source + " " + r.target' "$out/test.jsonl")
worldline weights "$out/${pair% *}" "$out/${pair#* }" --model "$model" --out "$out/weights.png"
train cft --model "$model" --data "$out/train.jsonl" --out "$out/cft"
train cwm --model "$model" --data "$out/train.jsonl" --synthetic "$out/kept.jsonl" --out "$out/cwm"

# 4. Both draw the test records; the world model draws eight candidates, of which the dynamics model keeps the likeliest. Then a chain of two actions.
worldline edit --cwm "$out/cft" --data "$out/test.jsonl" --candidates 1 --out "$out/cft.jsonl" --pictures "$out/pictures/cft"
worldline edit --cwm "$out/cwm" --cdm "$out/cdm" --data "$out/test.jsonl" --candidates 8 --out "$out/cwm.jsonl" --pictures "$out/pictures/cwm" --sheet "$out/candidates.png"
worldline edit --cwm "$out/cwm" --cdm "$out/cdm" --image "$out/${pair% *}" --steps "move the cup to the left" "remove it" --candidates 4 --out "$out/chain.png" --sheet "$out/chain_sheet.png"

# 5. Everything measured: pictures, said actions, preferences; then a study for people.
judge=()
[ -z "${JUDGE:-}" ] || judge=(--judge "$JUDGE" --judge-model "${JUDGE_MODEL:?the name of the judge model}")
worldline eval --data "$out/test.jsonl" --system cft="$out/pictures/cft" --system cwm="$out/pictures/cwm" --model "$model" --out "$out/eval" "${judge[@]}"
worldline annotate --cdm "$out/cdm" --pairs "$out/test.jsonl" --out "$out/said.jsonl" --max-tokens 48
worldline eval --data "$out/test.jsonl" --actions cdm="$out/said.jsonl" --out "$out/eval_actions"
worldline probe --model "$out/cdm" --data "$out/test.jsonl" --direction action --out "$out/probe.jsonl"
worldline study --data "$out/test.jsonl" --system cft="$out/pictures/cft" --system cwm="$out/pictures/cwm" --per-subset 2 --out "$out/study.html"
echo "done: $out" >&2
