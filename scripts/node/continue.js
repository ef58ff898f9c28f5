// Continues a clip: starts a worker, sends one request, prints the progress and then the path of the new file.
//   node scripts/node/continue.js clip.wav [seconds]
// The binary is found on the PATH, or named by SEGUE_BIN.
const { spawn } = require('node:child_process')
const readline = require('node:readline')
const path = require('node:path')

const [clip, seconds = '10'] = process.argv.slice(2)
if (!clip || !(Number(seconds) > 0)) {
  console.error('usage: node continue.js clip.wav [seconds]')
  process.exit(2)
}
process.exitCode = 1 // until the answer says otherwise
const worker = spawn(process.env.SEGUE_BIN || 'segue', ['worker'], { stdio: ['pipe', 'pipe', 'inherit'] })
worker.on('error', error => console.error(`cannot start segue: ${error.message}`))

// One message per line, both ways. The end of the input tells the worker to finish and leave.
const params = { path: path.resolve(clip), seconds: Number(seconds), progress: true }
worker.stdin.end(JSON.stringify({ jsonrpc: '2.0', id: 1, method: 'continue', params }) + '\n')
readline.createInterface({ input: worker.stdout }).on('line', line => {
  const message = JSON.parse(line)
  if (message.method === '$/progress') {
    const { stage = 'done', percentage } = message.params.value // a report without a percentage tells a new stage
    return console.error(percentage === undefined ? stage : `${stage} ${percentage} %`)
  }
  if (message.error) return console.error(message.error.message)
  process.exitCode = 0
  for (const output of message.result.outputs) console.log(output.path)
})
