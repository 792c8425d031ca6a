// Rights once more, with runc where `auto` would have taken crun.
process.env['WINDLASS_OCI_RUNTIME'] = 'runc';
await import('./rights.test.ts');
