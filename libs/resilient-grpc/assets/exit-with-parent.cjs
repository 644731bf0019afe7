// Ends a child process of ChildServer with its parent: the IPC channel closes when the parent ends for any reason.
process.on('disconnect', () => process.exit());
process.channel?.unref();
