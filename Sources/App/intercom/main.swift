import IntercomApp

IntercomCommand.main()
