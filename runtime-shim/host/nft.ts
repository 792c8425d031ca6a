// The nft program, for what changes rarely: chains and rules. One call is one transaction.
import { execFile, type ExecFileException } from 'node:child_process';

const TIMEOUT_MS = 30_000;

/** Runs a script of nft commands atomically; `onStart` learns the pid. The error holds nft's words, or why it said none. */
export function runNftScript(script: string, onStart?: (pid: number) => void): Promise<void> {
  return new Promise((resolve, reject) => {
    const child = execFile('nft', ['-f', '-'], { timeout: TIMEOUT_MS }, (error, _stdout, stderr) => {
      if (error) reject(new Error(`nft -f - failed: ${reasonOf(error, stderr)}`, { cause: error }));
      else resolve();
    });
    if (child.pid !== undefined) onStart?.(child.pid);
    // A program that ends early breaks the pipe; its exit code says why.
    child.stdin?.on('error', () => undefined);
    child.stdin?.end(script);
  });
}

function reasonOf(error: ExecFileException, stderr: string): string {
  if (error.killed) return `it was ended after ${TIMEOUT_MS / 1000} s`;
  return stderr.slice(-2000).trim() || (error.signal ? `ended by ${error.signal}` : error.message);
}

/** What the program prints for these arguments; undefined when it fails (the object is absent). */
export function readNft(args: readonly string[]): Promise<string | undefined> {
  return new Promise((resolve) => {
    execFile('nft', [...args], { timeout: TIMEOUT_MS, maxBuffer: 64 << 20 }, (error, stdout) =>
      resolve(error ? undefined : stdout),
    );
  });
}
