// The mounts once more, with runc where `auto` would have taken crun.
process.env['WINDLASS_OCI_RUNTIME'] = 'runc';
await import('./mounts.test.ts');
