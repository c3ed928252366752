// How often `pith lm` and llama.cpp continue a prompt alike, the most likely token always:
//
//   node bench/lm-same.mjs MODEL.gguf ...
//
// Twenty prompts, 64 tokens each, with llama.cpp's default (keys and values in F16, flash attention) and with F32 and
// no flash attention. The peer is bench/lm-peer.mjs; pith is $PITH, else build/pith. A folder in $PITH_PEER_2 with another
// node_modules, such as one that has only the library for another processor, is set beside the first as well.

import path from "node:path";
import {execFileSync} from "node:child_process";
import {fileURLToPath} from "node:url";

const prompts = [
    "The capital of France is", "Once upon a time there was a king who", "To make bread you need",
    "In mathematics, a prime number is", "The first rule of good writing is", "To install the package, run the command",
    "The file system is mounted at", "If you want to print a document, you can",
    "Every user has a home directory, in which", "The kernel must be compiled with",
    "Alice was beginning to get very tired of sitting by her sister on the bank,",
    "One day, a little girl named Lily went to the park", "Tom and his friend found a big red ball",
    "There was a small bird who could not fly", "The old man walked slowly along the river and",
    "Mum said that it was time for bed, but", "A computer program consists of",
    "In the morning the sun came up and", "She opened the letter and read:", "The dog ran after the cat because"
];
const here = path.dirname(fileURLToPath(import.meta.url));
const settings = [
    {name: "F16, flash attention", peer: ["--kv", "F16", "--flash", "on"], cache: "f16"},
    {name: "F32, none", peer: ["--kv", "F32", "--flash", "off"], cache: "f32"}
];

function byPeer(folder, model, setting) {
    const args = [path.join(here, "lm-peer.mjs"), "greedy", model, "--context", "256", "--count", "64",
        ...setting.peer];
    for (const prompt of prompts) args.push("--prompt", prompt);
    const env = {...process.env, ...(folder == null ? {} : {PITH_PEER: folder})};
    const quietly = {env, maxBuffer: 1 << 26, stdio: ["ignore", "pipe", "ignore"]};
    return JSON.parse(execFileSync(process.execPath, args, quietly)).answers.map(({ids}) => ids);
}

function byPith(model, setting) {
    const command = process.env.PITH ?? path.join(here, "../build/pith");
    return prompts.map((prompt) => JSON.parse(execFileSync(command, ["lm", "generate", `--model=${model}`, "--ctx=256",
        "-n64", "--greedy", `--cache-type=${setting.cache}`, "--json", "-q", prompt], {encoding: "utf8"})).ids);
}

// llama.cpp's end mark is one of its ids, pith's is not.
const alike = (a, b) => {
    const n = Math.min(a.length, b.length);
    return a.slice(0, n).every((id, i) => id === b[i]) &&
        (a.length === b.length || (Math.abs(a.length - b.length) === 1 && n < 64));
};

const models = process.argv.slice(2);
if (models.length === 0) {
    process.stderr.write("usage: lm-same.mjs MODEL.gguf ...; see the head of the file\n");
    process.exit(2);
}
const names = [];
const totals = [];
for (const model of models) {
    const runs = [];
    for (const setting of settings) {
        runs.push([`llama.cpp, ${setting.name}`, byPeer(null, model, setting)]);
        const second = process.env.PITH_PEER_2;
        if (second != null) runs.push([`second llama.cpp, ${setting.name}`, byPeer(second, model, setting)]);
        runs.push([`pith, cache ${setting.cache}`, byPith(model, setting)]);
    }
    for (let i = 0; i < runs.length; i++) {
        names[i] = runs[i][0];
        totals[i] ??= runs.map(() => 0);
        for (let j = 0; j < runs.length; j++)
            for (let p = 0; p < prompts.length; p++) totals[i][j] += alike(runs[i][1][p], runs[j][1][p]);
    }
}
console.log(`of ${models.length * prompts.length} continuations, the same:`);
names.forEach((name, i) => console.log(name.padEnd(42), totals[i].map((n) => String(n).padStart(5)).join("")));
