"""Other people's command streams: recordings, replay, disassembly, comparison with ours."""
