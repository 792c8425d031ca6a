// The nft program, for what changes rarely: chains and rules. One call is one transaction.
import { execFile } from 'node:child_process';

/** Runs a script of nft commands atomically; `onStart` learns the pid. The error holds nft's words. */
export function runNftScript(script: string, onStart?: (pid: number) => void): Promise<void> {
  return new Promise((resolve, reject) => {
    const child = execFile('nft', ['-f', '-'], { timeout: 30_000 }, (error, _stdout, stderr) => {
      if (error) reject(new Error(`nft -f - failed: ${stderr.slice(-2000).trim()}`, { cause: error }));
      else resolve();
    });
    if (child.pid !== undefined) onStart?.(child.pid);
    // A program that ends early breaks the pipe; its exit code says why.
    child.stdin?.on('error', () => undefined);
    child.stdin?.end(script);
  });
}

/** What the program prints for these arguments; undefined when it fails (the object is absent). */
export function readNft(args: readonly string[]): Promise<string | undefined> {
  return new Promise((resolve) => {
    execFile('nft', [...args], { timeout: 30_000, maxBuffer: 64 << 20 }, (error, stdout) =>
      resolve(error ? undefined : stdout),
    );
  });
}
