// The side-by-side peer of `pith lm`: llama.cpp through the npm package node-llama-cpp, as JSON on stdout.
//
//   node bench/lm-peer.mjs tokens   MODEL.gguf --text FILE [--bytes N]
//   node bench/lm-peer.mjs greedy   MODEL.gguf --prompt TEXT [--prompt TEXT ...] [--count N]
//   node bench/lm-peer.mjs logprobs MODEL.gguf --text FILE [--bytes N] [--count N] [--window N] [--logits OUT.f32]
//   node bench/lm-peer.mjs speed    MODEL.gguf [--text FILE] [--prefill N] [--generate N] [--repeat N]
//
// Options of all: --threads N (1), --context N, --batch N (512), --kv F16|F32 (F16), --flash on|off (llama.cpp decides).
// The package is looked for in $PITH_PEER/node_modules, then in ./node_modules; bench/README.md says how to get it.

import fs from "node:fs";
import path from "node:path";
import {parseArgs} from "node:util";
import {pathToFileURL} from "node:url";

const usage = "usage: lm-peer.mjs tokens|greedy|logprobs|speed MODEL.gguf [options]; see the head of the file";

function stop(message) {
    process.stderr.write(`lm-peer: ${message}\n`);
    process.exit(2);
}

function arguments_() {
    const text = {type: "string"};
    let parsed;
    try {
        parsed = parseArgs({
            allowPositionals: true,
            options: {
                text, bytes: text, count: text, window: text, logits: text, prefill: text, generate: text, repeat: text,
                threads: text, context: text, batch: text, kv: text, flash: text, prompt: {type: "string", multiple: true}
            }
        });
    } catch (error) {
        stop(`${error.message}\n${usage}`);
    }
    const [task, model] = parsed.positionals;
    if (model == null || parsed.positionals.length !== 2) stop(usage);
    const options = parsed.values;
    for (const name of ["bytes", "count", "window", "prefill", "generate", "repeat", "threads", "context", "batch"]) {
        if (options[name] == null) continue;
        options[name] = Number(options[name]);
        if (!Number.isSafeInteger(options[name]) || options[name] < 1) stop(`--${name} is not a positive whole number`);
    }
    return {task, model, options};
}

async function loadPackage() {
    const folder = process.env.PITH_PEER ?? process.cwd();
    const door = path.join(folder, "node_modules/node-llama-cpp/dist/index.js");
    if (!fs.existsSync(door)) stop(`no node-llama-cpp under ${folder}; try: npm install node-llama-cpp@3.22.1`);
    return import(pathToFileURL(door).href);
}

// The first `bytes` bytes of a file, cut back to whole characters. JavaScript strings hold no broken UTF-8: the peer
// cannot be asked about hostile bytes.
function readText(options) {
    if (options.text == null) stop("--text is missing");
    let bytes = fs.readFileSync(options.text);
    if (options.bytes != null && options.bytes < bytes.length) {
        let end = options.bytes;
        while (end > 0 && (bytes[end] & 0xc0) === 0x80) end--;
        bytes = bytes.subarray(0, end);
    }
    const string = bytes.toString("utf8");
    if (!Buffer.from(string, "utf8").equals(bytes)) stop(`${options.text} is not UTF-8`);
    return {string, size: bytes.length};
}

// Runs `work` and says how long it took on the wall and on all cores together.
async function timed(work) {
    const cpu = process.cpuUsage();
    const start = process.hrtime.bigint();
    await work();
    const seconds = Number(process.hrtime.bigint() - start) / 1e9;
    const used = process.cpuUsage(cpu);
    return {seconds, cpuSeconds: (used.user + used.system) / 1e6};
}

const bosOf = (model) => (model.tokens.shouldPrependBosToken ? [model.tokens.bos] : []);

async function open(modelPath, options, contextSize) {
    const {getLlama, LlamaLogLevel} = await loadPackage();
    const threads = options.threads ?? 1;
    const llama = await getLlama({
        gpu: false, build: "never", logLevel: LlamaLogLevel.error, maxThreads: threads, progressLogs: false
    });
    const model = await llama.loadModel({modelPath, gpuLayers: 0, vocabOnly: contextSize === 0});
    if (contextSize === 0) return {model};
    const context = await model.createContext({
        contextSize: options.context ?? contextSize ?? model.trainContextSize,
        batchSize: options.batch ?? 512,
        threads: {ideal: threads, min: threads},
        flashAttention: options.flash == null ? "auto" : options.flash === "on",
        experimentalKvCacheKeyType: options.kv ?? "F16",
        experimentalKvCacheValueType: options.kv ?? "F16"
    });
    return {model, context, sequence: context.getSequence(), threads};
}

// Token ids of a text, without the mark of the beginning.
async function tokens(modelPath, options) {
    const {string, size} = readText(options);
    const {model} = await open(modelPath, options, 0);
    const ids = model.tokenize(string);
    return {bytes: size, bos: bosOf(model), count: ids.length, ids};
}

// The most likely continuation of each prompt, up to `count` tokens or the end mark.
async function greedy(modelPath, options) {
    const count = options.count ?? 64;
    const {model, sequence} = await open(modelPath, options);
    const answers = [];
    for (const prompt of options.prompt ?? stop("--prompt is missing")) {
        await sequence.clearHistory();
        const promptIds = [...bosOf(model), ...model.tokenize(prompt)];
        const ids = [];
        for await (const token of sequence.evaluate(promptIds, {temperature: 0, yieldEogToken: true})) {
            ids.push(token);
            if (ids.length === count || model.isEogToken(token)) break;
        }
        answers.push({prompt, promptIds, ids, text: model.detokenize(ids, false, promptIds)});
    }
    return {count, answers};
}

// Natural-log probabilities of the tokens of a text, given all before them in windows of `window` tokens that each
// begin anew with the mark of the beginning. --logits writes the float32 rows of every prediction, in token-id order.
async function logprobs(modelPath, options) {
    const {string, size} = readText(options);
    const {model, context, sequence} = await open(modelPath, options);
    const bos = bosOf(model);
    const all = model.tokenize(string);
    const ids = all.slice(0, options.count ?? all.length);
    const window = options.window ?? context.contextSize - bos.length;
    if (window + bos.length > context.contextSize) stop(`--window ${window} does not fit the context`);
    if (bos.length === 0) stop("a model without a mark of the beginning is not handled");
    const logps = [];
    const tops = [];
    const rows = options.logits == null ? null : fs.openSync(options.logits, "w");
    for (let start = 0; start < ids.length; start += window) {
        await sequence.clearHistory();
        const piece = ids.slice(start, start + window);
        const input = [...bos, ...piece.slice(0, -1)].map((token) => [token, {generateNext: {logits: true}}]);
        await sequence.controlledEvaluate(input, {
            onTokenResult(i, {next}) {
                const [top, highest] = next.logits.entries().next().value;
                let sum = 0;
                for (const logit of next.logits.values()) sum += Math.exp(logit - highest);
                logps.push(next.logits.get(piece[i]) - highest - Math.log(sum));
                tops.push(top);
                if (rows != null) {
                    const row = new Float32Array(next.logits.size);
                    for (const [id, logit] of next.logits) row[id] = logit;
                    fs.writeSync(rows, new Uint8Array(row.buffer));
                }
                delete next.logits; // the whole vocabulary, of every token
            }
        });
    }
    if (rows != null) fs.closeSync(rows);
    const bits = -logps.reduce((a, b) => a + b, 0) / Math.LN2;
    const covered = ids.length === all.length ? size : Buffer.byteLength(model.detokenize(ids));
    return {bytes: size, coveredBytes: covered, count: ids.length, window, bits, bitsPerByte: bits / covered,
        nllPerToken: bits * Math.LN2 / ids.length, ids, logps, tops};
}

// Tokens per second of reading `prefill` tokens at once and of generating `generate` tokens from nothing.
async function speed(modelPath, options) {
    const prefill = options.prefill ?? 512;
    const generate = options.generate ?? 64;
    const size = Math.max(prefill, generate) + 2;
    const {model, sequence, threads} = await open(modelPath, options, size);
    const filler = "It was a bright day and the road went on along the river to the town. ";
    const string = options.text == null ? filler.repeat(prefill) : readText(options).string;
    const input = [...bosOf(model), ...model.tokenize(string)].slice(0, prefill);
    if (input.length < prefill) stop(`the text has only ${input.length} tokens`);
    const runs = {prefill: [], generate: []};
    await sequence.evaluateWithoutGeneratingNewTokens(input.slice(0, 8)); // pages in the weights
    for (let i = 0; i < (options.repeat ?? 3); i++) {
        await sequence.clearHistory();
        const read = await timed(() => sequence.evaluateWithoutGeneratingNewTokens(input));
        runs.prefill.push({...read, tokensPerSecond: prefill / read.seconds, tokensPerCpuSecond: prefill / read.cpuSeconds});
        await sequence.clearHistory();
        const written = await timed(async () => {
            let left = generate;
            for await (const _ of sequence.evaluate(input.slice(0, 1), {temperature: 0, yieldEogToken: true}))
                if (--left === 0) break;
        });
        runs.generate.push({...written, tokensPerSecond: generate / written.seconds,
            tokensPerCpuSecond: generate / written.cpuSeconds});
    }
    const best = (list) => list.reduce((a, b) => (a.cpuSeconds < b.cpuSeconds ? a : b));
    return {threads, prefillTokens: prefill, generatedTokens: generate,
        best: {prefill: best(runs.prefill), generate: best(runs.generate)}, runs};
}

const {task, model, options} = arguments_();
const tasks = {tokens, greedy, logprobs, speed};
if (!Object.hasOwn(tasks, task)) stop(usage);
if (!fs.existsSync(model)) stop(`cannot read ${model}`);
const answer = await tasks[task](path.resolve(model), options);
process.stdout.write(JSON.stringify({task, model: path.basename(model), peer: "node-llama-cpp", ...answer}) + "\n",
    () => process.exit(0));
