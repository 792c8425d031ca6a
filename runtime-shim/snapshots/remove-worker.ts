// The thread of remove-tree.ts. rmSync() goes from folder to folder in the kernel's own terms, whatever their names.
import { rmSync } from 'node:fs';
import { workerData } from 'node:worker_threads';

rmSync(workerData as string, { recursive: true, force: true });
