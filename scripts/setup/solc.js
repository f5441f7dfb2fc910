'use strict';
// `solc --standard-json [--base-path P] [--include-path P]... [--allow-paths A,B] [FILE]` on npm's solc.

const fs = require('fs');
const path = require('path');
const solc = require('../../node_modules/solc');

let input = null;
let basePath = '';
const includePaths = [];
let standardJson = false;

function fail(message) {
  process.stderr.write(`Error: ${message}\n`);
  process.exit(1);
}

const words = process.argv.slice(2).flatMap((word) => {
  const at = word.startsWith('--') ? word.indexOf('=') : -1;
  return at < 0 ? [word] : [word.slice(0, at), word.slice(at + 1)];
});
for (let i = 0; i < words.length; i++) {
  switch (words[i]) {
    case '--standard-json': standardJson = true; break;
    case '--base-path': basePath = words[++i]; break;
    case '--include-path': includePaths.push(words[++i]); break;
    case '--allow-paths': i++; break;
    case '-': break;
    default:
      if (words[i].startsWith('-')) fail(`unrecognised option '${words[i]}'`);
      input = words[i];
  }
}
if (!standardJson) fail('only --standard-json and --version are supported by this build of solc.');

const source = fs.readFileSync(input === null ? 0 : input, 'utf8');

// What the input does not carry is read below the base path and the include paths, nowhere else.
const folders = [basePath || process.cwd(), ...includePaths].map((folder) => fs.realpathSync(folder));

function findImport(name) {
  for (const folder of folders) {
    let file;
    try {
      file = fs.realpathSync(path.resolve(folder, name));
    } catch {
      continue;
    }
    if (!file.startsWith(folder + path.sep)) continue;
    return { contents: fs.readFileSync(file, 'utf8') };
  }
  return { error: `File not found: ${name}` };
}

const output = Buffer.from(solc.compile(source, { import: findImport }) + '\n');
for (let at = 0; at < output.length;) {
  try {
    at += fs.writeSync(1, output, at);
  } catch (error) {
    if (error.code !== 'EAGAIN') throw error;
  }
}
